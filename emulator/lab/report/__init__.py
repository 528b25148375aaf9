"""The pages people look at: a run's `report.html`, those of `matrix` and `why`, and an index.

    result.json ---> summary   page one: what was tried, what happened, why, what instead
    facts       ---> fates     where each segment ended, in words
                     timeline  bytes delivered over time, the failover's instants
                     ladder    the segments around the failover, across the nodes
                     sequence  sequence numbers and acknowledgements around the failover
    journals    ---> tables    the devices' connection tables before and after
                       |
                     render    templates/ filled in, everything escaped -> one file, no network

Rules
 1. Every number of the result on a page is put there by its path in result.json
    (`numbers.Numbers`): a page cannot say another number than the file.
 2. Whatever comes from a file is text, never markup.
 3. Nothing is told by colour alone; a page works without its script, and on paper.
 4. What prepares a page is pure; `pages` alone reads and writes files.
"""
