// What backout asks of Azure Monitor, action by action. It reads only.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read evidence.')
param evidenceReaderName string

@description('Name of the role to read alerts.')
param alertReaderName string

var evidenceReadingActions = [
  'Microsoft.Insights/metrics/read' // metrics of the target, or of the resource that the policy names
  'Microsoft.OperationalInsights/workspaces/read' // log queries of the policy (`kql`)
  'Microsoft.OperationalInsights/workspaces/query/read' // log queries of the policy
  'Microsoft.OperationalInsights/workspaces/query/*/read' // log queries of the policy, any table
]

var alertReadingActions = [
  'Microsoft.AlertsManagement/alerts/read' // `sweep` finds firings that never arrived
]

resource evidenceReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: evidenceReaderName
  properties: {
    roleName: 'backout ${environmentName} evidence reader (${take(evidenceReaderName, 8)})'
    description: 'Reads metrics, and queries logs.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: evidenceReadingActions
      }
    ]
  }
}

resource alertReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: alertReaderName
  properties: {
    roleName: 'backout ${environmentName} alert reader (${take(alertReaderName, 8)})'
    description: 'Reads fired alerts.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: alertReadingActions
      }
    ]
  }
}
