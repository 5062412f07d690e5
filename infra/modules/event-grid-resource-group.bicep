// What the resource manager did in one resource group of targets -> queue `deployments`. Deployed into that group.
//
// Azure allows one system topic a source. If the group has one already, name the group in `resourceGroupsWithTopic`.

@description('Short name of the installation.')
param environmentName string

@description('Identity by which Event Grid sends.')
param deliveryIdentityId string

@description('The queue.')
param queueId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgt-backout-${environmentName}'
  location: 'global'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${deliveryIdentityId}': {}
    }
  }
  properties: {
    source: resourceGroup().id
    topicType: 'Microsoft.Resources.ResourceGroups'
  }
}

resource changes 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: 'backout-${environmentName}'
  properties: {
    deliveryWithResourceIdentity: {
      identity: {
        type: 'UserAssigned'
        userAssignedIdentity: deliveryIdentityId
      }
      destination: {
        endpointType: 'ServiceBusQueue'
        properties: {
          resourceId: queueId
        }
      }
    }
    eventDeliverySchema: 'EventGridSchema'
    filter: {
      includedEventTypes: [
        'Microsoft.Resources.ResourceWriteSuccess'
        'Microsoft.Resources.ResourceWriteFailure'
        'Microsoft.Resources.ResourceActionSuccess'
        'Microsoft.Resources.ResourceActionFailure'
      ]
      // What can be a deployment of one of the platforms. At most 25 values.
      advancedFilters: [
        {
          operatorType: 'StringIn'
          key: 'data.operationName'
          values: [
            'Microsoft.Web/sites/write'
            'Microsoft.Web/sites/config/write'
            'Microsoft.Web/sites/extensions/write'
            'Microsoft.Web/sites/slotsswap/action'
            'Microsoft.Web/sites/applySlotConfig/action'
            'Microsoft.Web/sites/resetSlotConfig/action'
            'Microsoft.Web/sites/slots/write'
            'Microsoft.Web/sites/slots/config/write'
            'Microsoft.Web/sites/slots/extensions/write'
            'Microsoft.Web/sites/slots/slotsswap/action'
            'Microsoft.Web/sites/slots/applySlotConfig/action'
            'Microsoft.Web/sites/slots/resetSlotConfig/action'
            'Microsoft.ContainerService/managedClusters/write'
            'Microsoft.ContainerService/managedClusters/agentPools/write'
            'Microsoft.ContainerService/managedClusters/runCommand/action'
            'Microsoft.Resources/deployments/write'
            'Microsoft.Resources/deploymentStacks/write'
            'Microsoft.Logic/workflows/write'
            'Microsoft.Logic/workflows/enable/action'
            'Microsoft.Logic/workflows/disable/action'
            'Microsoft.App/containerApps/write'
            'Microsoft.App/containerApps/revisions/activate/action'
            'Microsoft.App/containerApps/revisions/deactivate/action'
            'Microsoft.App/containerApps/revisions/restart/action'
          ]
        }
      ]
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
  }
}
