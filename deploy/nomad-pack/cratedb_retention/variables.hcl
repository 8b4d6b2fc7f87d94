variable "mode" {
  description = "service: a job that runs what is due, with pages, HTTP API and metrics; periodic: a job that runs what is due, by a cron expression."
  type        = string
  default     = "service"
}

variable "job_name" {
  description = "The name of the job; the name of the job for tables and policies ends in -setup."
  type        = string
  default     = "cratedb-retention"
}

variable "region" {
  description = "The region of the jobs; empty: that of the agent."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "The namespace of the jobs; empty: that of the command."
  type        = string
  default     = ""
}

variable "datacenters" {
  description = "The datacenters of the jobs."
  type        = list(string)
  default     = ["*"]
}

variable "image" {
  description = "The image without its tag."
  type        = string
  default     = "cratedb-retention"
}

variable "tag" {
  description = "The tag of the image; empty: the version of the pack, which is that of the program."
  type        = string
  default     = ""
}

variable "replicas" {
  description = "service: number of replicas; any number may run on one database."
  type        = number
  default     = 1
}

variable "patience" {
  description = "service: grace period for runs on shutdown, in seconds. The job is killed 10 seconds later; clients allow 30 in total unless max_kill_timeout is raised."
  type        = number
  default     = 20
}

variable "service_provider" {
  description = "service: the service provider, nomad or consul."
  type        = string
  default     = "nomad"
}

variable "service_tags" {
  description = "service: tags, e.g. for a load balancer."
  type        = list(string)
  default     = []
}

variable "cron" {
  description = "periodic: when to run what is due, in UTC."
  type        = string
  default     = "*/5 * * * *"
}

variable "settings" {
  description = "Settings by their environment variables, as docs/reference/configuration.md lists them; secrets are in Nomad variables."
  type        = map(string)
  default = {
    CRATEDB_RETENTION_LOG_FORMAT = "json"
  }
}

variable "policies" {
  description = "The text of a policy file."
  type        = string
  default     = "policies: []"
}

variable "prune" {
  description = "Delete stored policies that are not in the policy file."
  type        = bool
  default     = false
}

variable "webhook" {
  description = "Whether the Nomad variable of the job also contains webhook and webhook_secret."
  type        = bool
  default     = false
}

variable "resources" {
  description = "CPU in MHz, memory in MB."
  type = object({
    cpu        = number
    memory     = number
    memory_max = number
  })
  default = {
    cpu        = 100
    memory     = 192
    memory_max = 768
  }
}
