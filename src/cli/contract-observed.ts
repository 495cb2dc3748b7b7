/** `latchfs contract --observed`: which locks were in fact held over a fixed workload, and where that is not what the document says. */
import { AccessLog, observedText } from '../report/observed.js';
import type { Output } from './contract.js';
import { playScene } from './workload/play.js';
import { SCENES, type Scene } from './workload/scenes/index.js';

/**
 * Run the workload through system calls and print what was observed.
 * @returns the exit status: 1 where observation and document disagree, a rule was broken, or a scene did not come to its end
 */
export async function printObserved(
  out: Output,
  options: { readonly json?: boolean; readonly scenes?: readonly Scene[] } = {},
): Promise<number> {
  const log = new AccessLog();
  const broken: string[] = [];
  for (const scene of options.scenes ?? SCENES) {
    const { result, violations } = await playScene(scene, log);
    if (result === 'hangs' || result.startsWith('fails')) broken.push(`the scene '${scene.name}' ${result}`);
    for (const { message } of violations) broken.push(`in the scene '${scene.name}': ${message}`);
  }
  const disagreements = log.disagreements();
  if (options.json === true) {
    out.write(`${JSON.stringify({ observations: log.observations(), disagreements, broken }, null, 2)}\n`);
  } else {
    out.write(observedText(log));
    for (const line of broken) out.write(`${line}\n`);
  }
  return disagreements.length + broken.length > 0 ? 1 : 0;
}
