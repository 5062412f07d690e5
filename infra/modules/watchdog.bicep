// Who watches backout. These alerts reach people on a way that does not lead through backout.

@description('Short name of the installation.')
param environmentName string

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Who is told; empty tells the owners of the subscription.')
param operatorEmails array

@description('Application Insights component of the function app.')
param applicationInsightsId string

@description('Service Bus namespace.')
param serviceBusId string

// Owner, the built-in role. An action group of e-mails to nobody would make the watchdog silent.
var owner = '8e3af657-a8ff-443c-a75c-2fe8c4bcb635'

var owners = [
  {
    name: 'owners'
    roleId: owner
    useCommonAlertSchema: true
  }
]

resource operators 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-backout-${environmentName}-operators'
  location: 'global'
  tags: tags
  properties: {
    enabled: true
    groupShortName: 'backout ops'
    emailReceivers: [
      for (address, index) in operatorEmails: {
        name: 'operator ${index}'
        emailAddress: address
        useCommonAlertSchema: true
      }
    ]
    armRoleReceivers: empty(operatorEmails) ? owners : []
  }
}

// `sweep` runs every 5 minutes. A log alert costs by how often it looks: 15 minutes is the cheapest step.
resource noSweep 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: 'backout-${environmentName}-no-sweep'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'backout: no sweep ran for 30 minutes'
    description: 'The timer function `sweep` did not succeed for 30 minutes, so nothing that got stuck is found. Look at the function app: is it running, does its log say why?'
    enabled: true
    severity: 1
    scopes: [
      applicationInsightsId
    ]
    evaluationFrequency: 'PT15M'
    windowSize: 'PT30M'
    // The function app logs in its own time: without code there is no table yet.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: 'requests | where name =~ "sweep" and success == true'
          timeAggregation: 'Count'
          operator: 'LessThan'
          threshold: 1
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        operators.id
      ]
    }
  }
}

// A dead letter is a message that nobody will look at again unless a person does.
resource deadLetters 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'backout-${environmentName}-dead-letters'
  location: 'global'
  tags: tags
  properties: {
    description: 'A queue of backout has dead letters. `backout dead-letters list` shows them, `backout dead-letters replay` sends them again.'
    enabled: true
    severity: 2
    scopes: [
      serviceBusId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'dead letters'
          metricNamespace: 'Microsoft.ServiceBus/namespaces'
          metricName: 'DeadletteredMessages'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: 0
          dimensions: [
            {
              name: 'EntityName'
              operator: 'Include'
              values: [
                'alerts'
                'deployments'
                'markers'
                'followups'
              ]
            }
          ]
        }
      ]
    }
    actions: [
      {
        actionGroupId: operators.id
      }
    ]
  }
}
