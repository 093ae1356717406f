{{- define "wasmesh.labels" -}}
app.kubernetes.io/part-of: wasmesh
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The reference of an image: by digest where one is given. */}}
{{- define "wasmesh.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Fits the Pod Security level "restricted". */}}
{{- define "wasmesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "wasmesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "wasmesh.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "wasmesh.whoAmI" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{/* What inject.Settings of the programs reads. */}}
{{- define "wasmesh.sidecarSettings" -}}
{{- $s := .Values.sidecar -}}
version: {{ .Chart.AppVersion | quote }}
image: {{ include "wasmesh.image" (dict "image" .Values.sidecarImage "chart" .Chart) | quote }}
imagePullPolicy: {{ .Values.sidecarImage.pullPolicy }}
{{- with $s.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - {{ .name | quote }}
{{- end }}
{{- end }}
systemNamespace: {{ .Release.Namespace }}
concurrency: {{ int $s.concurrency }}
logLevel: {{ $s.logLevel | quote }}
drainSeconds: {{ int $s.drainSeconds }}
startSeconds: {{ int $s.startSeconds }}
plaintextMetrics: {{ $s.plaintextMetrics }}
resources: {{- toYaml $s.resources | nindent 2 }}
{{- end }}

{{- define "wasmesh.disruption" -}}
{{- if .budget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "wasmesh.labels" .root | nindent 4 }}
spec:
  maxUnavailable: {{ .budget.maxUnavailable }}
  selector:
    matchLabels: {app.kubernetes.io/name: {{ .name }}}
{{- end }}
{{- end }}
