import { worksForAll } from './users.js';

await worksForAll('git', 'git over 2,000 commits', ['git', 'awk']);
