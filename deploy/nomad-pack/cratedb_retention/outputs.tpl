cratedb-retention [[ meta "pack.version" . ]]: the job [[ var "job_name" . ]] runs policies by their schedules, and [[ var "job_name" . ]]-setup creates the tables and applies the policies.

Both wait for the address of the database:

  nomad var put nomad/jobs/[[ var "job_name" . ]] uri=crate://...
  nomad var put nomad/jobs/[[ var "job_name" . ]]-setup uri=crate://...
[[- if eq (var "mode" .) "service" ]]

The pages and the HTTP API ask for an access token. Make the first:

  nomad alloc exec -job [[ var "job_name" . ]] cratedb-retention create-token --name=operations --role=admin
[[- end ]]
