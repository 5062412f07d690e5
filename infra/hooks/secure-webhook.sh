#!/usr/bin/env bash
# Creates the Entra application by which an action group proves who it is (secure webhook), and lets Azure Monitor use it.
# Run once, by somebody who may register applications and assign app roles: `infra/hooks/secure-webhook.sh`, then `azd provision`.
# Running it again changes nothing.
set -euo pipefail

# The first-party application "AzNS AAD Webhook" of the public cloud.
readonly azure_monitor=461e8683-5575-4561-ac7f-899cc907d62a
readonly name=${1:-backout-${AZURE_ENV_NAME:-prod}-webhook}
readonly role_value=ActionGroupsSecureWebhook

client_id=$(az ad app list --filter "displayName eq '$name'" --query '[0].appId' --output tsv)
if [[ -z $client_id ]]; then
  role_id=$(cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen)
  roles=$(printf '[{"allowedMemberTypes":["Application"],"description":"Azure Monitor may tell of alerts","displayName":"%s","id":"%s","isEnabled":true,"value":"%s"}]' \
    "$role_value" "$role_id" "$role_value")
  client_id=$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg --requested-access-token-version 2 \
    --app-roles "$roles" --query appId --output tsv)
  az ad app update --id "$client_id" --identifier-uris "api://$client_id"
fi
object_id=$(az ad app show --id "$client_id" --query id --output tsv)
role_id=$(az ad app show --id "$client_id" --query "appRoles[?value=='$role_value'].id | [0]" --output tsv)

# The service principals: ours, and Azure Monitor's in this tenant.
principal_of() {
  az ad sp show --id "$1" --query id --output tsv 2>/dev/null || az ad sp create --id "$1" --query id --output tsv
}
ours=$(principal_of "$client_id")
theirs=$(principal_of "$azure_monitor")

granted=$(az rest --method get --url "https://graph.microsoft.com/v1.0/servicePrincipals/$theirs/appRoleAssignments" \
  --query "length(value[?appRoleId=='$role_id' && resourceId=='$ours'])" --output tsv)
if [[ $granted == 0 ]]; then
  az rest --method post --url "https://graph.microsoft.com/v1.0/servicePrincipals/$theirs/appRoleAssignments" \
    --body "{\"principalId\":\"$theirs\",\"resourceId\":\"$ours\",\"appRoleId\":\"$role_id\"}" --output none
fi

if command -v azd >/dev/null && azd env get-values >/dev/null 2>&1; then
  azd env set BACKOUT_WEBHOOK_CLIENT_ID "$client_id"
  azd env set BACKOUT_WEBHOOK_OBJECT_ID "$object_id"
  echo 'kept in the azd environment; go on with: azd provision'
else
  printf 'export BACKOUT_WEBHOOK_CLIENT_ID=%s\nexport BACKOUT_WEBHOOK_OBJECT_ID=%s\n' "$client_id" "$object_id"
fi
