# Creates or upgrades the toolkit's tables, and applies the policies.
job "[[ var "job_name" . ]]-setup" {
[[ template "place" . ]]
  type = "batch"

  group "setup" {
    # Before the other task.
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
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- if var "webhook" . ]]

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .webhook }}{{ end }}"
        destination = "secrets/webhook"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .webhook_secret }}{{ end }}"
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

    task "apply" {
[[ template "process" . ]]
      kill_timeout = "30s"

      config {
        args = ["apply", "--file=${NOMAD_TASK_DIR}/policies.yaml"[[ if var "prune" . ]], "--prune"[[ end ]]]
[[ template "container" . ]]
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .uri }}{{ end }}"
        destination = "secrets/uri"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }
      [[- if var "webhook" . ]]

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .webhook }}{{ end }}"
        destination = "secrets/webhook"
        perms       = "0400"
        uid         = 10001
        gid         = 10001
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/[[ var "job_name" . ]]-setup\" }}{{ .webhook_secret }}{{ end }}"
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

      # With other delimiters than braces, which a policy file may have.
      template {
        data            = [[ var "policies" . | replace "${" "$${" | replace "%{" "%%{" | toJson ]]
        destination     = "local/policies.yaml"
        left_delimiter  = "<<<<"
        right_delimiter = ">>>>"
      }
    }
  }
}
