{{/* Names, labels, images and rights that more than one template needs. */}}

{{- define "fedloom.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of every object's name: the release's name, with the chart's where it is not in there already. */}}
{{- define "fedloom.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "fedloom.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fedloom.operatorName" -}}
{{- include "fedloom.fullname" . }}-operator
{{- end -}}

{{/* What a selector may hold: it never changes between versions of the chart. */}}
{{- define "fedloom.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fedloom.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "fedloom.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ include "fedloom.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: fedloom
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "fedloom.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "fedloom.operatorName" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "fedloom.leaseName" -}}
{{- default (include "fedloom.operatorName" .) .Values.operator.leaderElection.leaseName -}}
{{- end -}}

{{- define "fedloom.keysSecret" -}}
{{- default (printf "%s-keys" (include "fedloom.operatorName" .)) .Values.operator.keysSecret -}}
{{- end -}}

{{/* Full reference of one image: (dict "root" $ "image" .Values.operator.image). */}}
{{- define "fedloom.image" -}}
{{- $root := .root -}}
{{- $name := .image.repository -}}
{{- with $root.Values.image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (coalesce .image.tag $root.Values.image.tag $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Pod and container security: the `restricted` standard, whatever the values say. */}}
{{- define "fedloom.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.operator.runAsUser }}
runAsUser: {{ int64 . }}
{{- end }}
{{- with .Values.operator.runAsGroup }}
runAsGroup: {{ int64 . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "fedloom.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "fedloom.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
