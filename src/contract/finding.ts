/** What a finding about the locking document says. */
import type { Section } from './row.js';

/** Contradicts itself; disagrees with the kernel's code; names what has gone or was renamed; is misprinted; was observed otherwise. */
export type FindingKind = 'self-contradiction' | 'kernel' | 'outdated' | 'misprint' | 'observation';

export interface Finding {
  /** `section#name` or `section.op#name`, unique. */
  readonly id: string;
  readonly section: Section;
  /** Absent where it concerns the section as a whole. */
  readonly op?: string;
  readonly kind: FindingKind;
  /** What the document says, in our own words. */
  readonly says: string;
  /** What speaks against it: the place in the document or in the kernel. */
  readonly evidence: string;
  /** What the contract and this system do about it. */
  readonly here: string;
}
