{{/* For admissionpolicy.yaml: what the operator writes, Leases aside: (dict "operations" (list …) "core" "a,b"). */}}
{{- define "fedloom.operatorsResources" -}}
{{- $operations := toJson .operations -}}
{{- range $group, $resources := dict "" .core "apps" "deployments" "batch" "jobs,cronjobs" "jobset.x-k8s.io" "jobsets" "networking.k8s.io" "networkpolicies" "rbac.authorization.k8s.io" "roles,rolebindings" -}}
- apiGroups: [{{ $group | quote }}]
  apiVersions: ["*"]
  operations: {{ $operations }}
  resources: {{ splitList "," $resources | toJson }}
{{ end }}
{{- end -}}

{{/* Policies are of the cluster: releases in namespaced mode live beside each other, under one name in many namespaces. */}}
{{- define "fedloom.policyName" -}}
{{- include "fedloom.operatorName" . }}{{ if .Values.watchNamespaces }}.{{ .Release.Namespace }}{{ end }}
{{- end -}}
