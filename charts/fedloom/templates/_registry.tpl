{{/* Names of the registry, and what the operator is told of it. */}}

{{- define "fedloom.registryName" -}}
{{- include "fedloom.fullname" . }}-registry
{{- end -}}

{{- define "fedloom.registrySelectorLabels" -}}
app.kubernetes.io/name: {{ include "fedloom.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: registry
{{- end -}}

{{- define "fedloom.registryHost" -}}
{{- include "fedloom.registryName" . }}.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end -}}

{{- define "fedloom.registryEnvironment" -}}
- name: FEDLOOM_OPERATOR_REGISTRY_URL
  value: {{ printf "https://%s:8443" (include "fedloom.registryHost" .) | quote }}
- name: FEDLOOM_OPERATOR_REGISTRY_SECRET
  value: {{ include "fedloom.registryName" . | quote }}
- name: FEDLOOM_OPERATOR_REGISTRY_HOSTS
  value: {{ prepend .Values.registry.hosts (include "fedloom.registryHost" .) | join "," | quote }}
- name: FEDLOOM_OPERATOR_REGISTRY_CLIENTS
  value: {{ toJson .Values.registry.clients | quote }}
- name: FEDLOOM_OPERATOR_REGISTRY_GENERATIONS
  value: {{ include "fedloom.registryGenerations" . | quote }}
{{- end -}}

{{/* Numbers of values come as floats: they are written as integers. */}}
{{- define "fedloom.registryGenerations" -}}
{{- $found := dict -}}
{{- range $client, $generation := .Values.registry.tokenGenerations -}}
{{- $_ := set $found $client (int64 $generation) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}
