{{/* What values.schema.json cannot say, or cannot say clearly. Each refusal names the value and the way out. */}}
{{- define "fedloom.checks" -}}
{{- $election := .Values.operator.leaderElection -}}
{{- if ge (int64 $election.renewDeadlineSeconds) (int64 $election.leaseDurationSeconds) -}}
{{- fail "operator.leaderElection.renewDeadlineSeconds must be less than leaseDurationSeconds: a leader has to end before another one begins" -}}
{{- end -}}
{{- if ge (mul 12 $election.retryPeriodSeconds) (mul 10 $election.renewDeadlineSeconds) -}}
{{- fail "operator.leaderElection.retryPeriodSeconds, and a fifth more, must be less than renewDeadlineSeconds: a leader has to get a second attempt" -}}
{{- end -}}
{{- if and .Values.certificates.issuerRef.name .Values.registry.enabled -}}
{{- fail "certificates.issuerRef goes with registry.enabled: false: a site trusts one CA, and the registry's certificate is of the operator's own" -}}
{{- end -}}
{{- $set := list -}}
{{- range include "fedloom.environment" . | fromYamlArray -}}
{{- $set = append $set .name -}}
{{- end -}}
{{- range .Values.operator.extraEnv -}}
{{- if has .name $set -}}
{{- fail (printf "operator.extraEnv: %s is set by the chart itself, from a value of its own" .name) -}}
{{- end -}}
{{- end -}}
{{- range $value, $labels := dict "commonLabels" .Values.commonLabels "operator.podLabels" .Values.operator.podLabels "metrics.serviceMonitor.labels" .Values.metrics.serviceMonitor.labels -}}
{{- range $key := keys $labels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $key) (hasPrefix "helm.sh/" $key) -}}
{{- fail (printf "%s: the label %s is set by the chart itself; choose another key" $value $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
