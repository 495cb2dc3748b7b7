/** What somebody meant who has misspelt a word. */

/** Up to `most` of the words that are spelt almost like `word`, the nearest first. A word within another is near to it. */
export function nearest(word: string, words: Iterable<string>, most: number): readonly string[] {
  const wanted = word.toLowerCase().replaceAll('-', '_');
  if (wanted === '') return [];
  const near = [...words]
    .map((name) => ({ name, distance: distanceOf(wanted, name) }))
    .filter(({ name, distance }) => distance <= Math.max(2, Math.floor(Math.min(wanted.length, name.length) / 3)))
    .sort((a, b) => a.distance - b.distance || a.name.length - b.name.length)
    .slice(0, most);
  const furthest = (near[0]?.distance ?? 0) + 1;
  return near.filter(({ distance }) => distance <= furthest).map(({ name }) => name);
}

function distanceOf(wanted: string, name: string): number {
  if (wanted === name) return 0;
  return name.includes(wanted) || wanted.includes(name) ? 1 : editDistance(wanted, name);
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const change = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(change, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
