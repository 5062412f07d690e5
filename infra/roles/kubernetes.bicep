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

@description('Name of the role to read by commands.')
param commandReaderName string

@description('Name of the role to act by commands.')
param commandActorName string

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

// Only for clusters with `access: run-command`. Azure has no narrower right than to run any command; what a command may do in the
// cluster is bounded by the data actions of the identity that runs it.
var commandReadingActions = [
  'Microsoft.ContainerService/managedClusters/read' // whether the cluster runs commands, and with whose rights
  'Microsoft.ContainerService/managedClusters/runcommand/action' // reads the workload and its revisions by `kubectl get`
  'Microsoft.ContainerService/managedClusters/commandResults/read' // what a command printed
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
]

var commandActingActions = [
  'Microsoft.ContainerService/managedClusters/runcommand/action' // patches the pod template back by `kubectl patch`
  'Microsoft.Authorization/permissions/read' // asks before it is needed whether the other actions are granted
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

resource commandReader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: commandReaderName
  properties: {
    roleName: 'backout ${environmentName} kubernetes command reader (${take(commandReaderName, 8)})'
    description: 'Runs commands in a cluster that read its workloads.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: commandReadingActions
      }
    ]
  }
}

resource commandActor 'Microsoft.Authorization/roleDefinitions@2022-04-01' = if (mayAct) {
  name: commandActorName
  properties: {
    roleName: 'backout ${environmentName} kubernetes command actor (${take(commandActorName, 8)})'
    description: 'Runs commands in a cluster that write its workloads.'
    type: 'CustomRole'
    assignableScopes: assignableScopes
    permissions: [
      {
        actions: commandActingActions
      }
    ]
  }
}
