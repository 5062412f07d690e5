// What backout asks of AKS, action by action. A test holds these lists against the code.
//
// For clusters with Azure RBAC for Kubernetes. Elsewhere the data actions have no effect, and a Role in the cluster says the same.

targetScope = 'subscription'

@description('Short name of the installation.')
param environmentName string

@description('Subscriptions in which the roles can be assigned.')
param assignableScopes array

@description('Name (GUID) of the role to read.')
param readerName string

@description('Name of the role to act.')
param actorName string

@description('Whether some target may be acted upon. Otherwise no role to act exists at all.')
param mayAct bool

var readingActions = [
  'Microsoft.ContainerService/managedClusters/listClusterUserCredential/action' // the API server's address and certificate; a POST that reads
]

// Whether they are granted is asked of the cluster (`SelfSubjectAccessReview`), which everyone who is signed in may do.
var readingDataActions = [
  'Microsoft.ContainerService/managedClusters/apps/deployments/read' // the workload
  'Microsoft.ContainerService/managedClusters/apps/statefulsets/read' // the workload
  'Microsoft.ContainerService/managedClusters/apps/daemonsets/read' // the workload
  'Microsoft.ContainerService/managedClusters/apps/replicasets/read' // the revisions of a Deployment
  'Microsoft.ContainerService/managedClusters/apps/controllerrevisions/read' // the revisions of the other kinds
]

var actingDataActions = [
  'Microsoft.ContainerService/managedClusters/apps/deployments/write' // patches the pod template back
  'Microsoft.ContainerService/managedClusters/apps/statefulsets/write' // patches the pod template back
  'Microsoft.ContainerService/managedClusters/apps/daemonsets/write' // patches the pod template back
]

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: readerName
  properties: {
    roleName: 'backout ${environmentName} kubernetes reader (${take(readerName, 8)})'
    description: 'Reads Deployments, StatefulSets, DaemonSets and their revisions.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: readingActions
        dataActions: readingDataActions
      }
    ]
  }
}

resource actor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: actorName
  properties: {
    roleName: 'backout ${environmentName} kubernetes actor (${take(actorName, 8)})'
    description: 'Writes Deployments, StatefulSets and DaemonSets.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: []
        dataActions: actingDataActions
      }
    ]
  }
}
