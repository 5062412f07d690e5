// Example alert rules, one a target. They name no action group: the alert processing rule adds it.
// The numbers are a start. A rule that fires on every hiccup makes backout hold and page, not act.

@description('Short name of the installation.')
param environmentName string

@description('Tags of every resource.')
param tags object

@description('Sites in this subscription.')
param siteIds array

@description('Workflows in this subscription.')
param workflowIds array

@description('Container apps in this subscription.')
param containerAppIds array

@description('Clusters in this subscription.')
param clusterIds array

resource siteErrors 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for id in siteIds: {
    name: 'backout-${environmentName}-http5xx-${last(split(id, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      description: 'More than 10 server errors in 5 minutes.'
      enabled: true
      severity: 1
      scopes: [
        id
      ]
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'server errors'
            metricNamespace: 'Microsoft.Web/sites'
            metricName: 'Http5xx'
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: 10
          }
        ]
      }
      actions: []
    }
  }
]

resource failedRuns 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for id in workflowIds: {
    name: 'backout-${environmentName}-failed-runs-${last(split(id, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      description: 'More than 5 failed runs in 15 minutes.'
      enabled: true
      severity: 1
      scopes: [
        id
      ]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT15M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'failed runs'
            metricNamespace: 'Microsoft.Logic/workflows'
            metricName: 'RunsFailed'
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: 5
          }
        ]
      }
      actions: []
    }
  }
]

resource containerAppErrors 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for id in containerAppIds: {
    name: 'backout-${environmentName}-5xx-${last(split(id, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      description: 'More than 10 server errors in 5 minutes.'
      enabled: true
      severity: 1
      scopes: [
        id
      ]
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'server errors'
            metricNamespace: 'Microsoft.App/containerApps'
            metricName: 'Requests'
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: 10
            dimensions: [
              {
                name: 'statusCodeCategory'
                operator: 'Include'
                values: [
                  '5xx'
                ]
              }
            ]
          }
        ]
      }
      actions: []
    }
  }
]

// Speaks of the cluster, not of a workload. A rule on Prometheus metrics that keeps the labels `namespace` and `deployment` is
// better evidence, where Azure Monitor's managed Prometheus is on.
resource failedPods 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for id in clusterIds: {
    name: 'backout-${environmentName}-failed-pods-${last(split(id, '/'))}'
    location: 'global'
    tags: tags
    properties: {
      description: 'Pods are in phase Failed.'
      enabled: true
      severity: 1
      scopes: [
        id
      ]
      evaluationFrequency: 'PT5M'
      windowSize: 'PT5M'
      autoMitigate: true
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            criterionType: 'StaticThresholdCriterion'
            name: 'failed pods'
            metricNamespace: 'Microsoft.ContainerService/managedClusters'
            metricName: 'kube_pod_status_phase'
            timeAggregation: 'Average'
            operator: 'GreaterThan'
            threshold: 0
            dimensions: [
              {
                name: 'phase'
                operator: 'Include'
                values: [
                  'Failed'
                ]
              }
              {
                name: 'namespace'
                operator: 'Include'
                values: [
                  '*'
                ]
              }
            ]
          }
        ]
      }
      actions: []
    }
  }
]
