{{- define "cratedb-retention.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cratedb-retention.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cratedb-retention.selector" -}}
app.kubernetes.io/name: {{ include "cratedb-retention.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cratedb-retention.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cratedb-retention.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cratedb-retention.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "cratedb-retention.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "cratedb-retention.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "cratedb-retention.secretName" -}}
{{- default (include "cratedb-retention.fullname" .) .Values.existingSecret.name }}
{{- end }}

{{/* Which secrets there are: the key in the Secret of each, as YAML. */}}
{{- define "cratedb-retention.secretKeys" -}}
{{- if .Values.existingSecret.name }}
{{- toYaml .Values.existingSecret.keys }}
{{- else -}}
uri: uri
webhook: {{ ternary "webhook" "" (not (empty .Values.notify.webhook)) | quote }}
webhookSecret: {{ ternary "webhook-secret" "" (not (empty .Values.notify.webhookSecret)) | quote }}
{{- end }}
{{- end }}

{{- define "cratedb-retention.patience" -}}
{{- ((.Values.settings).service).patience | default 30 }}
{{- end }}

{{/* The settings without http.hosts, to which pods add their own address. */}}
{{- define "cratedb-retention.config" -}}
{{- $settings := deepCopy .Values.settings }}
{{- if (($settings).http).hosts }}
{{- $_ := set $settings "http" (omit $settings.http "hosts") }}
{{- end }}
{{- toToml $settings }}
{{- end }}
