import { worksForAll } from './users.js';

await worksForAll('archive', 'tar and rsync of 10,000 files, there and back', ['tar', 'rsync', 'setfattr', 'setfacl']);
