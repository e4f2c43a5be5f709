import { x } from '@pgmesh/core'; console.log(x);
