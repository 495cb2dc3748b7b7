import { worksForAll } from './users.js';

await worksForAll('build', 'a C project is built with make -j', ['cc', 'make']);
