// Slot swaps of one site -> queue `deployments`. The resource manager's own event names the source slot only; this one names both.
// Deployed into the site's resource group.

@description('Short name of the installation.')
param environmentName string

@description('The site.')
param siteName string

@description('Identity by which Event Grid sends.')
param deliveryIdentityId string

@description('The queue.')
param queueId string

resource site 'Microsoft.Web/sites@2024-11-01' existing = {
  name: siteName
}

// A topic of its own, so that the site's region is known when the topic is declared.
module topic 'event-grid-site-topic.bicep' = {
  name: 'backout-swaps-${uniqueString(site.id, environmentName)}'
  params: {
    environmentName: environmentName
    siteName: siteName
    location: site.location
    deliveryIdentityId: deliveryIdentityId
    queueId: queueId
  }
}
