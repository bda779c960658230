"""Many encrypted files at a time: what ``pycrcnn batch`` does, and how a client writes and reads such files.

Files lie under a prefix: a local folder, or ``s3://bucket/prefix`` (credentials come from the environment, ``AWS_*``).

=================== ==================================================================================================
name                bytes
=================== ==================================================================================================
``ID.keys``         :meth:`pycrcnn.program.EvaluationKeys.to_bytes`; ID is their BLAKE2b-256 in hexadecimal digits. A
                    service's key store has the same names, and can be the prefix of the keys
``ID/NAME.images``  :meth:`pycrcnn.program.EncryptedImages.to_bytes`, encrypted under the secret key that belongs to ID
``ID/NAME.answer``  of the output: bytes of :class:`pycrcnn.program.Answer`, re-randomised as a service's replies are
``report.json``     of the output: what the last run did
=================== ==================================================================================================

NAME is one to 128 letters, digits, ``.``, ``_`` and ``-``, and begins with a letter or digit. Anything else under the
prefix is left alone. An answer is written whole or not at all, and one that is there, and not older than its question,
is not computed again: a run that was interrupted goes on where it was. Nobody but the client can tell whether images
were encrypted under the keys whose ID they carry: if they were not, the answer decrypts to an error or to noise.

=========== ================================================================
module      what it knows
=========== ================================================================
`prefix`    files of a folder, objects of a bucket
`layout`    the names above, and what is still to be done
`evaluate`  one question: read, computed in this process, written
`tasks`     questions as tasks of Ray
`shared`    prefixes that its nodes read and write themselves
`running`   many questions: bounded in flight, retried, each failure by itself
`report`    what came of it
`customer`  the client's side
=========== ================================================================
"""
