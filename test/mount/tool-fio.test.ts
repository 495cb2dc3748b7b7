import { worksForAll } from './users.js';

await worksForAll('fio', 'fio verifies what four jobs wrote', ['fio']);
