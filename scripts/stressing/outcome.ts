/** What has become of some calls. */
export interface Outcome {
  readonly calls: number;
  /** How many of them an errno, or a signal, was the answer to. */
  readonly refused: number;
  /** Everything that must not be: broken rules, hangs, errors that are no errno, what is in use at the end, what fsck finds. */
  readonly faults: readonly string[];
}
