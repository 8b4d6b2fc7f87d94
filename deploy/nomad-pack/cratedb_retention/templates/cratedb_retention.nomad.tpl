[[- if not (has (var "mode" .) (list "service" "periodic")) ]][[ fail "mode is service or periodic" ]][[ end -]]
job [[ var "job_name" . | toJson ]] {
[[ template "place" . ]]
[[- if eq (var "mode" .) "service" ]]
  type = "service"

  group "service" {
    count = [[ var "replicas" . ]]

    network {
      port "http" {
        to = 8080
      }
    }

    service {
      name     = [[ var "job_name" . | toJson ]]
      port     = "http"
      provider = [[ var "service_provider" . | toJson ]]
      tags     = [[ var "service_tags" . | toJson ]]

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
[[ template "process" . ]]
      kill_timeout = "30s"

      config {
        args = ["setup"]
[[ template "container" . ]]
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- if var "webhook" . ]]

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook }}{{ end }}"
        destination = "secrets/webhook"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook_secret }}{{ end }}"
        destination = "secrets/webhook-secret"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- end ]]

      env {
        CRATEDB_URI_FILE = "${NOMAD_SECRETS_DIR}/uri"
        [[- if var "webhook" . ]]
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_FILE        = "${NOMAD_SECRETS_DIR}/webhook"
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET_FILE = "${NOMAD_SECRETS_DIR}/webhook-secret"
        [[- end ]]
        [[- range $name, $value := var "settings" . ]]
        [[ $name ]] = [[ $value | toJson ]]
        [[- end ]]
      }

[[ template "resources" . ]]
    }

    task "service" {
[[ template "process" . ]]
      kill_timeout = "[[ add (var "patience" .) 10 ]]s"

      config {
        args = ["serve", "--listen=0.0.0.0:8080", "--patience=[[ var "patience" . ]]"]
        ports = ["http"]
[[ template "container" . ]]
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- if var "webhook" . ]]

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook }}{{ end }}"
        destination = "secrets/webhook"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook_secret }}{{ end }}"
        destination = "secrets/webhook-secret"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- end ]]

      env {
        CRATEDB_URI_FILE = "${NOMAD_SECRETS_DIR}/uri"
        [[- if var "webhook" . ]]
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_FILE        = "${NOMAD_SECRETS_DIR}/webhook"
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET_FILE = "${NOMAD_SECRETS_DIR}/webhook-secret"
        [[- end ]]
        [[- range $name, $value := var "settings" . ]]
        [[ $name ]] = [[ $value | toJson ]]
        [[- end ]]
      }

[[ template "resources" . ]]
    }
  }
[[- else ]]
  type = "batch"

  periodic {
    crons     = [[ list (var "cron" .) | toJson ]]
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
[[ template "process" . ]]
      kill_timeout = "30s"

      config {
        args = ["run", "--due", "--format=json"]
[[ template "container" . ]]
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- if var "webhook" . ]]

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook }}{{ end }}"
        destination = "secrets/webhook"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]\" }}{{ .webhook_secret }}{{ end }}"
        destination = "secrets/webhook-secret"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- end ]]

      env {
        CRATEDB_URI_FILE = "${NOMAD_SECRETS_DIR}/uri"
        [[- if var "webhook" . ]]
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_FILE        = "${NOMAD_SECRETS_DIR}/webhook"
        CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET_FILE = "${NOMAD_SECRETS_DIR}/webhook-secret"
        [[- end ]]
        [[- range $name, $value := var "settings" . ]]
        [[ $name ]] = [[ $value | toJson ]]
        [[- end ]]
      }

[[ template "resources" . ]]
    }
  }
[[- end ]]
}
