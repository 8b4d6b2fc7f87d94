# The service: it runs what is due, with the pages, the HTTP API and metrics. See docs/how-to/nomad.md.

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "image" {
  type    = string
  default = "cratedb-retention:0.1.0"
}

# Any number may run on one database.
variable "replicas" {
  type    = number
  default = 1
}

job "cratedb-retention" {
  datacenters = var.datacenters
  type        = "service"

  group "service" {
    count = var.replicas

    network {
      port "http" {
        to = 8080
      }
    }

    service {
      name     = "cratedb-retention"
      port     = "http"
      provider = "nomad"

      # The service is up.
      check {
        name     = "health"
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "5s"

        check_restart {
          limit = 6
          grace = "60s"
        }
      }

      # The database responds, and the toolkit's tables exist.
      check {
        name     = "ready"
        type     = "http"
        path     = "/ready"
        interval = "10s"
        timeout  = "5s"
      }
    }

    # The service does not start without its tables. Several at once are harmless.
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

      # nomad var put nomad/jobs/cratedb-retention uri=crate://...
      template {
        data        = "{{ with nomadVar \"nomad/jobs/cratedb-retention\" }}{{ .uri }}{{ end }}"
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

    task "service" {
      driver       = "docker"
      user         = "10001:10001"
      kill_signal  = "SIGINT"
      # Runs end before their next step, within 20 seconds; clients allow 30 unless max_kill_timeout says more.
      kill_timeout = "30s"

      config {
        image           = var.image
        args            = ["serve", "--listen=0.0.0.0:8080", "--patience=20"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
        ports           = ["http"]

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
      }

      # nomad var put nomad/jobs/cratedb-retention uri=crate://...
      template {
        data        = "{{ with nomadVar \"nomad/jobs/cratedb-retention\" }}{{ .uri }}{{ end }}"
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
