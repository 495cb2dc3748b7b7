import { worksForAll } from './users.js';

await worksForAll('files', 'sparse copies, preallocation, holes and zeroes', ['fallocate']);
