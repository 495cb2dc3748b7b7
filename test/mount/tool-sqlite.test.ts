import { worksForAll } from './users.js';

await worksForAll('sqlite', 'sqlite in WAL mode with a mapping, 100,000 rows', ['sqlite3']);
