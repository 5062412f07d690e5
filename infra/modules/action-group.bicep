// How alerts come in: an action group that calls the function `alert-webhook`, and a rule that adds it to every alert in scope, so
// that no alert rule has to be edited.

@description('Short name of the installation.')
param environmentName string

@description('Tags of every resource.')
param tags object

@description('Function app of this resource group; its host must be running.')
param functionAppName string

@description('Client id of the secure webhook\'s application, or empty.')
param webhookClientId string

@description('Object id of the same application.')
param webhookObjectId string

@description('What the alert processing rule covers; empty: no rule.')
param scopes array

resource functionApp 'Microsoft.Web/sites@2024-11-01' existing = {
  name: functionAppName
}

// The one key in these files. An action group has no managed identity for a web hook; the host turns strangers away by this key
// before the handler sees them. It stays inside the deployment: neither a parameter nor an output.
var functionKey = listKeys('${functionApp.id}/host/default', functionApp.apiVersion).functionKeys.default

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-backout-${environmentName}'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'backout'
    webhookReceivers: [
      {
        name: 'backout'
        serviceUri: 'https://${functionApp.properties.defaultHostName}/api/alert-webhook?code=${functionKey}'
        useCommonAlertSchema: true
        // With an application of yours, the call carries a token too, and backout checks it.
        useAadAuth: !empty(webhookClientId)
        objectId: empty(webhookClientId) ? null : webhookObjectId
        identifierUri: empty(webhookClientId) ? null : 'api://${webhookClientId}'
        tenantId: empty(webhookClientId) ? null : tenant().tenantId
      }
    ]
  }
}

resource everyAlert 'Microsoft.AlertsManagement/actionRules@2021-08-08' = if (!empty(scopes)) {
  name: 'backout-${environmentName}-every-alert'
  location: 'global'
  tags: tags
  properties: {
    description: 'Tells backout of every alert in scope. Rules stay as they are.'
    enabled: true
    scopes: scopes
    actions: [
      {
        actionType: 'AddActionGroups'
        actionGroupIds: [
          actionGroup.id
        ]
      }
    ]
  }
}

output actionGroupId string = actionGroup.id
