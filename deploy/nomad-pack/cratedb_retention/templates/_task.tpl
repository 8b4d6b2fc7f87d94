[[- define "place" ]]
[[- if var "region" . ]]
  region      = [[ var "region" . | toJson ]]
[[- end ]]
[[- if var "namespace" . ]]
  namespace   = [[ var "namespace" . | toJson ]]
[[- end ]]
  datacenters = [[ var "datacenters" . | toJson ]]
[[- end ]]

[[- define "process" ]]
      driver      = "docker"
      user        = "10001:10001"
      kill_signal = "SIGINT"
[[- end ]]

[[- define "container" ]]
        image           = "[[ var "image" . ]]:[[ var "tag" . | default (meta "pack.version" .) ]]"
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/tmp"
        }
[[- end ]]

[[- define "resources" ]]
      resources {
        cpu        = [[ var "resources.cpu" . ]]
        memory     = [[ var "resources.memory" . ]]
        memory_max = [[ var "resources.memory_max" . ]]
      }
[[- end ]]
