# Runs what is due every five minutes, instead of the service. See docs/how-to/nomad.md.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "cratedb-retention:0.1.0"
}

job "cratedb-retention-due" {
  datacenters = var.datacenters
  type        = "batch"

  periodic {
    crons     = ["*/5 * * * *"]
    time_zone = "UTC"
    # Leases keep runs apart.
    prohibit_overlap = false
  }

  group "due" {
    # If a run fails, the next one tries again.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "due" {
      driver       = "docker"
      user         = "10001:10001"
      kill_signal  = "SIGINT"
      kill_timeout = "30s"

      config {
        image           = var.image
        args            = ["run", "--due", "--format=json"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }

      # nomad var put nomad/jobs/cratedb-retention-due uri=crate://...
      template {
        data        = "{{ with nomadVar \"nomad/jobs/cratedb-retention-due\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      env {
        CRATEDB_URI_FILE             = "${NOMAD_SECRETS_DIR}/uri"
        CRATEDB_RETENTION_LOG_FORMAT = "json"
      }

      resources {
        cpu        = 100
        memory     = 192
        memory_max = 768
      }
    }
  }
}
