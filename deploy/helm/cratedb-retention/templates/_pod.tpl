{{/*
What the pods of the service, of the CronJob, of the setup and of the test have in common: labels and all of the spec
but the containers. Call it with (dict "root" $ "component" "service").
*/}}
{{- define "cratedb-retention.podMetadata" -}}
{{- $root := .root -}}
labels:
  {{- include "cratedb-retention.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
  {{- with $root.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/config: {{ include "cratedb-retention.config" $root | sha256sum }}
  {{- if not $root.Values.existingSecret.name }}
  checksum/secret: {{ printf "%s %s %s" $root.Values.database.uri $root.Values.notify.webhook $root.Values.notify.webhookSecret | sha256sum }}
  {{- end }}
  {{- with $root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "cratedb-retention.podSpec" -}}
{{- $root := .root -}}
{{- $keys := include "cratedb-retention.secretKeys" $root | fromYaml -}}
serviceAccountName: {{ include "cratedb-retention.serviceAccountName" $root }}
automountServiceAccountToken: false
# Otherwise the variables of a Service named like this program would be read as unknown settings.
enableServiceLinks: false
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: config
    configMap:
      name: {{ include "cratedb-retention.fullname" $root }}
  - name: secrets
    secret:
      secretName: {{ include "cratedb-retention.secretName" $root }}
      defaultMode: 0440
      items:
        - key: {{ $keys.uri }}
          path: uri
        {{- with $keys.webhook }}
        - key: {{ . }}
          path: webhook
        {{- end }}
        {{- with $keys.webhookSecret }}
        - key: {{ . }}
          path: webhook-secret
        {{- end }}
  {{- with $root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What each container has: call it with (dict "root" $ "args" (list "serve") "mounts" (list)). */}}
{{- define "cratedb-retention.container" -}}
{{- $root := .root -}}
{{- $keys := include "cratedb-retention.secretKeys" $root | fromYaml -}}
image: {{ include "cratedb-retention.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args:
  {{- toYaml .args | nindent 2 }}
env:
  - name: CRATEDB_URI_FILE
    value: /run/secrets/cratedb-retention/uri
  - name: CRATEDB_RETENTION_CONFIG
    value: /etc/cratedb-retention/config.toml
  {{- if $keys.webhook }}
  - name: CRATEDB_RETENTION_NOTIFY_WEBHOOK_FILE
    value: /run/secrets/cratedb-retention/webhook
  {{- end }}
  {{- if $keys.webhookSecret }}
  - name: CRATEDB_RETENTION_NOTIFY_WEBHOOK_SECRET_FILE
    value: /run/secrets/cratedb-retention/webhook-secret
  {{- end }}
  {{- with (($root.Values.settings).http).hosts }}
  {{- $name := include "cratedb-retention.fullname" $root }}
  # Probes and Prometheus call a pod by its address.
  - name: POD_IP
    valueFrom:
      fieldRef:
        fieldPath: status.podIP
  - name: CRATEDB_RETENTION_HTTP_HOSTS
    value: {{ printf "$(POD_IP),localhost,%s,%s.%s,%s.%s.svc,%s" $name $name $root.Release.Namespace $name $root.Release.Namespace (join "," .) }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with $root.Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: config
    mountPath: /etc/cratedb-retention
    readOnly: true
  - name: secrets
    mountPath: /run/secrets/cratedb-retention
    readOnly: true
  {{- with .mounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
