/** Every order of some events, each with its name: `123`, `132` and so on. */
export function permutations<T>(events: readonly T[]): [name: string, events: T[]][] {
  if (events.length === 0) return [['', []]];
  const numbered = events.map((event, i): [string, T] => [String(i + 1), event]);
  return permute(numbered).map((order) => [order.map(([name]) => name).join(''), order.map(([, event]) => event)]);
}

function permute<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) =>
    permute([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]),
  );
}
