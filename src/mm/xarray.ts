/** placeholder, replaced by the mm layer */
import type { Folio } from './folio.js';
export type XaMark = 'dirty' | 'writeback' | 'towrite';
export class XArray {
  readonly count: number = 0;
  declare load: (index: number) => Folio | undefined;
}
