{{/* The operator's environment: every name is a setting of fedoperator.settings; a test says so. */}}
{{- define "fedloom.environment" -}}
- name: FEDLOOM_OPERATOR_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: FEDLOOM_OPERATOR_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: FEDLOOM_OPERATOR_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: FEDLOOM_OPERATOR_AGGREGATOR_IMAGE
  value: {{ include "fedloom.image" (dict "root" . "image" .Values.aggregator.image) | quote }}
- name: FEDLOOM_OPERATOR_IMAGE_PULL_POLICY
  value: {{ .Values.image.pullPolicy | quote }}
- name: FEDLOOM_OPERATOR_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain | quote }}
- name: FEDLOOM_OPERATOR_WORKERS
  value: {{ int64 .Values.operator.workers | quote }}
- name: FEDLOOM_OPERATOR_RESYNC_S
  value: {{ int64 .Values.operator.resyncSeconds | quote }}
- name: FEDLOOM_OPERATOR_LEADER_ELECTION
  value: "true"
- name: FEDLOOM_OPERATOR_LEASE_NAME
  value: {{ include "fedloom.leaseName" . | quote }}
- name: FEDLOOM_OPERATOR_LEASE_DURATION_S
  value: {{ int64 .Values.operator.leaderElection.leaseDurationSeconds | quote }}
- name: FEDLOOM_OPERATOR_LEASE_RENEW_DEADLINE_S
  value: {{ int64 .Values.operator.leaderElection.renewDeadlineSeconds | quote }}
- name: FEDLOOM_OPERATOR_LEASE_RETRY_S
  value: {{ int64 .Values.operator.leaderElection.retryPeriodSeconds | quote }}
- name: FEDLOOM_OPERATOR_PROBE_PORT
  value: "8080"
- name: FEDLOOM_OPERATOR_METRICS_PORT
  value: "9090"
- name: FEDLOOM_OPERATOR_LOG_LEVEL
  value: {{ .Values.operator.logLevel | quote }}
- name: FEDLOOM_OPERATOR_KEYS_SECRET
  value: {{ include "fedloom.keysSecret" . | quote }}
- name: FEDLOOM_OPERATOR_CERTIFICATE_LIFETIME_S
  value: {{ mul 3600 .Values.certificates.lifetimeHours | quote }}
- name: FEDLOOM_OPERATOR_CERTIFICATE_ISSUER
  value: {{ pick .Values.certificates.issuerRef "name" "kind" "group" | toJson | quote }}
- name: FEDLOOM_OPERATOR_POD_FAILURES_PER_ROUND
  value: {{ int64 .Values.operator.podFailuresPerRound | quote }}
- name: FEDLOOM_OPERATOR_SITE_RETRY_S
  value: {{ int64 .Values.operator.siteRetrySeconds | quote }}
{{- if .Values.registry.enabled }}
{{ include "fedloom.registryEnvironment" . }}
{{- end }}
- name: HOME
  value: /tmp
{{- end -}}
