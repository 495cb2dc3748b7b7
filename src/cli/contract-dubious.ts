/** `latchfs contract --dubious`: what the locking document says against itself, the kernel or experience. Formatting only. */
import { DUBIOUS } from '../contract/dubious.js';
import type { Finding } from '../contract/finding.js';
import type { Output } from './contract.js';

/**
 * Print the findings.
 *
 * @param observed further findings, for example from recorded accesses
 */
export function printDubious(
  out: Output,
  options: { readonly json?: boolean; readonly observed?: readonly Finding[] } = {},
): void {
  const findings = [...DUBIOUS, ...(options.observed ?? [])];
  if (options.json) {
    out.write(`${JSON.stringify(findings, null, 2)}\n`);
    return;
  }
  for (const finding of findings) {
    out.write(
      `${finding.id} (${finding.kind})\n  says      ${finding.says}\n  evidence  ${finding.evidence}\n  here      ${finding.here}\n\n`,
    );
  }
  out.write(`${findings.length} findings\n`);
}
