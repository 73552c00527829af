{{/*
Rights in a watched namespace; a ClusterRole in cluster mode, a Role per namespace otherwise.
Secrets are created and renewed, never read here. The verbs on federatedjobs, their status, flclients and leases are
also what the Roles of aggregators and backups hold: the operator may only grant what it has itself.
*/}}
{{- define "fedloom.watchedRules" -}}
- apiGroups: [fedloom.dev]
  resources: [federatedjobs]
  verbs: [get, list, watch, delete] # delete: ttlSecondsAfterFinished
- apiGroups: [fedloom.dev]
  resources: [flclients]
  verbs: [get, list, watch{{ if and .Values.registry.enabled .Values.registry.clients }}, create{{ end }}]
- apiGroups: [fedloom.dev]
  resources: [federatedjobs/status, flclients/status]
  verbs: [get, patch]
- apiGroups: [fedloom.dev]
  resources: [federatedjobs/finalizers, flclients/finalizers]
  verbs: [update] # owner references that block deletion
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [jobset.x-k8s.io]
  resources: [jobsets] # TPU slices of several hosts, where JobSet is installed
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.certificates.issuerRef.name }}
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [create, patch] # the answer says whether it is issued
{{- end }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch] # the only copy of a model is never the operator's to delete
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch] # patch: an aggregator's certificate is renewed
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, patch] # a site's heartbeat; who writes a job's store
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, list] # list: why the cluster makes no pods for a Job (a quota, a policy)
{{- end -}}

{{/* Rights in the operator's own namespace, in both modes: its keys and its leadership. */}}
{{- define "fedloom.ownRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "fedloom.keysSecret" . | quote }}]
  verbs: [get]
{{- if .Values.registry.enabled }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "fedloom.registryName" . | quote }}]
  verbs: [patch] # its certificate is renewed
{{- end }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "fedloom.leaseName" . | quote }}]
  verbs: [get, update]
{{- end -}}

{{/* Rights of people. */}}
{{- define "fedloom.viewerRules" -}}
- apiGroups: [fedloom.dev]
  resources: [federatedjobs, flclients]
  verbs: [get, list, watch]
- apiGroups: [fedloom.dev]
  resources: [federatedjobs/status, flclients/status]
  verbs: [get]
{{- end -}}

{{- define "fedloom.editorRules" -}}
- apiGroups: [fedloom.dev]
  resources: [federatedjobs, flclients]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
- apiGroups: [fedloom.dev]
  resources: [federatedjobs/status, flclients/status]
  verbs: [get]
{{- end -}}

{{/* The operator's service account as the subject of a binding. */}}
{{- define "fedloom.subject" -}}
- kind: ServiceAccount
  name: {{ include "fedloom.serviceAccount" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
