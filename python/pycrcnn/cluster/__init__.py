"""Evaluation on many machines, by Ray: ``pycrcnn serve --engine ray``. It needs ``pip install 'pycrcnn[ray]'``.

The service stays what it is, one process that speaks HTTP and keeps keys and jobs. Its engine hands each part of a
request to a replica of a Ray Serve deployment, which fetches programs and keys where it has them not. Ray is
imported only where that engine is chosen.

============ ===========================================================================
module       what it knows
============ ===========================================================================
`runtime`    Ray, imported
`node`       programs and key sets that a process keeps ready; no Ray
`messages`   question and reply between server and replica; no Ray
`evaluator`  a replica: fetches, evaluates, answers
`routing`    which replica a request goes to
`deployment` replicas, cores, autoscaling
`connection` the service's place in a cluster: joined, watched
`engine`     the service's engine: attempts, references
`app`        the whole service as an application of ``serve run`` and ``serve deploy``
`local`      a cluster of processes on this machine
`capacity`   on paper: bounds, what breaks first, cost; no Ray
`simulation` a cluster, event by event; no Ray
============ ===========================================================================
"""
