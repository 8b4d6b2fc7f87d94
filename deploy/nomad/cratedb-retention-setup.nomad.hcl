# Creates or upgrades the toolkit's tables, and applies the policies. Run it first, and whenever they, or the version,
# change. See docs/how-to/nomad.md.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "cratedb-retention:0.1.0"
}

# A policy file: -var "policies=$(cat policies.yaml)"
variable "policies" {
  type    = string
  default = "policies: []"
}

job "cratedb-retention-setup" {
  datacenters = var.datacenters
  type        = "batch"

  group "setup" {
    # Before the other task.
    task "setup" {
      lifecycle {
        hook    = "prestart"
        sidecar = false
      }

      driver       = "docker"
      user         = "10001:10001"
      kill_signal  = "SIGINT"
      kill_timeout = "30s"

      config {
        image           = var.image
        args            = ["setup"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }

      # nomad var put nomad/jobs/cratedb-retention-setup uri=crate://...
      template {
        data        = "{{ with nomadVar \"nomad/jobs/cratedb-retention-setup\" }}{{ .uri }}{{ end }}"
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

    task "apply" {
      driver       = "docker"
      user         = "10001:10001"
      kill_signal  = "SIGINT"
      kill_timeout = "30s"

      config {
        image           = var.image
        args            = ["apply", "--file=${NOMAD_TASK_DIR}/policies.yaml"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }

      # nomad var put nomad/jobs/cratedb-retention-setup uri=crate://...
      template {
        data        = "{{ with nomadVar \"nomad/jobs/cratedb-retention-setup\" }}{{ .uri }}{{ end }}"
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

      # With other delimiters than braces, which a policy file may have.
      template {
        data            = var.policies
        destination     = "local/policies.yaml"
        left_delimiter  = "<<<<"
        right_delimiter = ">>>>"
      }
    }
  }
}
