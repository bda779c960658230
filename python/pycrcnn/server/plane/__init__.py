"""The data plane: models, keys, evaluation, jobs. It knows no transport: routes translate.

| module | what it knows |
| --- | --- |
| `refusals` | what is refused, and why |
| `catalogue` | models and programs on offer, as clients see them |
| `compiling` | which programs a model is offered in |
| `registry` | the models of a directory and those that come with the package, compiled once and kept |
| `blobs` | bytes under names, on disk; `objects` keeps them in an object store |
| `shelf` | compiled programs on disk, some of them ready in memory |
| `keys` | clients' evaluation keys, under their hash |
| `queue` | a bounded queue that is fair between clients, and the threads that work it off |
| `memory` | bytes that evaluations side by side may take |
| `engine` | evaluation; in this process unless another engine is given |
| `jobs` | long work: kept on disk, computed once |
| `legacy` | PyCrCNN's own computation, layer by layer |
| `exchange` | payloads by reference to an object store |
"""
