import { worksForAll } from './users.js';

await worksForAll('locks', 'locks between processes', ['python3']);
