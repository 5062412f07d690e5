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

@description('Name of the role to read alert rules.')
param alertRuleReaderName string

@description('Whether alert rules may be listed. Otherwise the role does not exist at all.')
param readsAlertRules bool

var evidenceReadingActions = [
  'Microsoft.Insights/metrics/read' // metrics of the target, or of the resource that the policy names
  'Microsoft.OperationalInsights/workspaces/read' // log queries of the policy (`kql`)
  'Microsoft.OperationalInsights/workspaces/query/read' // log queries of the policy
  'Microsoft.OperationalInsights/workspaces/query/*/read' // log queries of the policy, any table
]

var alertReadingActions = [
  'Microsoft.AlertsManagement/alerts/read' // `sweep` finds firings that never arrived
]

// Only for `backout check`. An action group shows the URLs of its web hooks, and some hold a key.
var alertRuleReadingActions = [
  'Microsoft.Insights/metricAlerts/read' // metric rules that speak about a service: are they wired, severe enough?
  'Microsoft.Insights/scheduledQueryRules/read' // the same of log search rules
  'Microsoft.Insights/actionGroups/read' // which of their action groups call `alert-webhook`
  'Microsoft.AlertsManagement/actionRules/read' // alert processing rules, which add action groups or take them away
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

resource alertRuleReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (readsAlertRules) {
  name: alertRuleReaderName
  properties: {
    roleName: 'backout ${environmentName} alert rule reader (${take(alertRuleReaderName, 8)})'
    description: 'Reads alert rules, action groups and alert processing rules.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: alertRuleReadingActions
      }
    ]
  }
}
