// backout in your own subscription: one resource group, and the rights of two identities on the targets that you name.
//
//   azd up                                                              (azure.yaml calls this file)
//   az deployment sub create -l REGION -f infra/main.bicep -p infra/main.bicepparam
//
// What it costs while nothing happens: docs/costs.md. Who may do what: docs/permissions.md.

targetScope = 'subscription'

// ---------------------------------------------------------------------------------------------------------------------
// Types
// ---------------------------------------------------------------------------------------------------------------------

type platformName = 'app-service' | 'kubernetes' | 'arm-deployment' | 'logic-app' | 'container-app'

// One resource that a service of the policy file names as its `target`.
type targetResource = {
  // As the policy writes it.
  platform: platformName

  // The site, the cluster, the scope of the deployments (a resource group or a subscription), the workflow, the container app.
  id: string

  // False: the acting identity gets no right here, so whatever the policy says, nothing can be changed.
  mayAct: bool

  // app-service: the policy's `fingerprint` names an app setting. Reading one means that all of them can be read, secrets too.
  readsAppSettings: bool?

  // app-service: backout may end a gradual ramp-up (`rampUpRules`), and set an image or package again. This needs the right to
  // write the site's configuration.
  mayConfigure: bool?

  // kubernetes: the policy says `access: run-command`, as for a private cluster. Both identities may then run commands in it.
  runsCommands: bool?

  // container-app: the environment. logic-app: the API connections. Azure asks for the right to join them whenever the app or
  // workflow is written.
  joins: string[]?

  // arm-deployment: GUID of a role that may write what the templates contain, such as Network Contributor. The template's
  // resources are not known here.
  templateRole: string?
}

type serviceBusTier = 'Basic' | 'Standard'

type modeName = 'observe' | 'propose' | 'act'

// ---------------------------------------------------------------------------------------------------------------------
// Parameters: names
// ---------------------------------------------------------------------------------------------------------------------

@description('Short name of this installation; part of every generated name.')
@minLength(1)
@maxLength(32)
param environmentName string

@description('Region of everything that has one. Flex Consumption must be offered there: `az functionapp list-flexconsumption-locations`.')
@minLength(1)
param location string

@description('Resource group to create or reuse.')
param resourceGroupName string = 'rg-backout-${environmentName}'

@description('Function app; part of its host name, so unique in Azure.')
param functionAppName string = 'func-backout-${uniqueString(subscription().id, environmentName, location)}'

@description('Storage account of the Functions host and of the package. No state of backout is in it.')
@minLength(3)
@maxLength(24)
param hostStorageName string = 'bohost${uniqueString(subscription().id, environmentName, location)}'

@description('Storage account of what backout remembers: claims, records, receipts.')
@minLength(3)
@maxLength(24)
param stateStorageName string = 'bostate${uniqueString(subscription().id, environmentName, location)}'

@description('Service Bus namespace.')
@minLength(6)
@maxLength(50)
param serviceBusName string = 'sb-backout-${uniqueString(subscription().id, environmentName, location)}'

// ---------------------------------------------------------------------------------------------------------------------
// Parameters: tier and what exists already
// ---------------------------------------------------------------------------------------------------------------------

@description('Basic is enough. Standard adds duplicate detection on the queue `deployments`, for a base charge.')
param serviceBus serviceBusTier = 'Basic'

@description('Redundancy of the state. `Standard_ZRS` survives the loss of one data centre, where the region has zones.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
])
param stateRedundancy string = 'Standard_LRS'

@description('Memory of an instance, in MB. The handler needs little; the host needs 512.')
@allowed([
  512
  2048
  4096
])
param instanceMemoryMB int = 512

@description('Ceiling of the scale-out.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Id of a Log Analytics workspace to use. Empty: one is created, with a daily cap.')
param existingWorkspaceId string = ''

@description('Resource groups of targets that have an Event Grid system topic already: Azure allows one a source. Subscribe there by hand (docs/deploy.md).')
param resourceGroupsWithTopic string[] = []

@description('Sites that have an Event Grid system topic already.')
param sitesWithTopic string[] = []

// ---------------------------------------------------------------------------------------------------------------------
// Parameters: what backout watches, and what it may do
// ---------------------------------------------------------------------------------------------------------------------

@description('What the policy file names as targets.')
param targets targetResource[] = []

@description('Application Insights components, workspaces and other resources that the policy names as `evidence`, beside the targets themselves.')
param evidenceIds string[] = []

@description('Resources that the policy names under `alerts`, where they lie in other subscriptions than targets and evidence.')
param alertResourceIds string[] = []

@description('Whether `backout check` may list alert rules and action groups, to say which rules do not reach it.')
param readsAlertRules bool = true

@description('Ceiling over the mode of every service in the policy file.')
param mode modeName = 'observe'

@description('Where the policy file is: a path in the package, or the https URL of a blob.')
param policy string = 'backout.yaml'

@description('App settings that the policy names (`urlFrom` of a channel, tokens of pipelines). Values can be Key Vault references.')
@secure()
param policySettings object = {}

// ---------------------------------------------------------------------------------------------------------------------
// Parameters: who speaks to it
// ---------------------------------------------------------------------------------------------------------------------

@description('True once the code is deployed: the action group needs a key that the running host hands out. The hook `postdeploy` sets it.')
param codeIsDeployed bool = false

@description('Client id of the Entra application of the secure webhook; `infra/hooks/secure-webhook.sh` creates it. Empty: the function key only.')
param webhookClientId string = ''

@description('Object id of the same application.')
param webhookObjectId string = ''

@description('Client id of the Entra application by which approvers sign in. Empty: nobody can approve, everybody with the link can decline.')
param approverClientId string = ''

@description('Signs approval links. Left out, each deployment makes a new one, which ends the links that are still open.')
@secure()
@minLength(32)
param approvalKey string = '${newGuid()}${newGuid()}'

@description('Azure DevOps service hooks can only use a connection string: true allows them, and creates one rule that may send to the queue `markers` and nothing else.')
param azureDevOpsSendsMarkers bool = false

@description('Two alerts that do not lead through backout: no sweep ran for 30 minutes, a queue has dead letters. Most of what an idle installation costs.')
param watchesItself bool = true

@description('Who is told when backout itself is not well. Empty: the owners of the subscription, by e-mail.')
param operatorEmails string[] = []

@description('What the alert processing rule covers: resource groups or resources of this subscription. Empty: the resource groups of the targets.')
param alertScopes string[] = []

@description('Creates one alert rule a target in this subscription, as a start.')
param exampleAlertRules bool = false

// ---------------------------------------------------------------------------------------------------------------------
// Targets by platform, and where they are
// ---------------------------------------------------------------------------------------------------------------------

var tags = { 'azd-env-name': environmentName }

var sites = filter(targets, target => target.platform == 'app-service')
var clusters = filter(targets, target => target.platform == 'kubernetes')
var workflows = filter(targets, target => target.platform == 'logic-app')
var containerApps = filter(targets, target => target.platform == 'container-app')
var deploymentScopes = filter(targets, target => target.platform == 'arm-deployment')
var deploymentGroups = filter(deploymentScopes, target => length(split(target.id, '/')) > 4)
var deploymentSubscriptions = filter(deploymentScopes, target => length(split(target.id, '/')) <= 4)

var targetsInGroups = filter(targets, target => length(split(target.id, '/')) > 4)
var targetGroups = union([], map(targetsInGroups, target => toLower(join(take(split(target.id, '/'), 5), '/'))))
var targetSubscriptions = union([], map(targets, target => toLower(join(take(split(target.id, '/'), 3), '/'))))

// A role can be assigned only where its definition says so.
var evidenceSubscriptions = union([], map(evidenceIds, id => toLower(join(take(split(id, '/'), 3), '/'))))
var alertSubscriptions = union([], map(alertResourceIds, id => toLower(join(take(split(id, '/'), 3), '/'))))
var ownSubscription = toLower(subscription().id)
var watchedSubscriptions = union(targetSubscriptions, evidenceSubscriptions, alertSubscriptions)
var assignableScopes = union([ownSubscription], watchedSubscriptions)

var groupsWithTopic = map(resourceGroupsWithTopic, id => toLower(id))
var groupsToWatch = filter(targetGroups, id => !contains(groupsWithTopic, id))
var lowerSitesWithTopic = map(sitesWithTopic, id => toLower(id))

// An alert processing rule and a metric alert rule reach only resources of their own subscription.
var ownPrefix = '${ownSubscription}/'
var ownGroups = filter(targetGroups, id => startsWith(id, ownPrefix))
var ownTargets = filter(targetsInGroups, target => startsWith(toLower(target.id), ownPrefix))
var ownDeploymentSubscription = filter(deploymentSubscriptions, target => toLower(target.id) == ownSubscription)

// Names of the role definitions. The same for the same installation, so that a second deployment changes them instead of adding.
var roleNames = {
  siteReader: guid(subscription().id, environmentName, 'app-service', 'reader')
  siteSettingsReader: guid(subscription().id, environmentName, 'app-service', 'settings reader')
  siteActor: guid(subscription().id, environmentName, 'app-service', 'actor')
  siteConfigurator: guid(subscription().id, environmentName, 'app-service', 'configurator')
  clusterReader: guid(subscription().id, environmentName, 'kubernetes', 'reader')
  clusterActor: guid(subscription().id, environmentName, 'kubernetes', 'actor')
  clusterCommandReader: guid(subscription().id, environmentName, 'kubernetes', 'command reader')
  clusterCommandActor: guid(subscription().id, environmentName, 'kubernetes', 'command actor')
  deploymentReader: guid(subscription().id, environmentName, 'arm-deployment', 'reader')
  deploymentActor: guid(subscription().id, environmentName, 'arm-deployment', 'actor')
  deploymentOperationReader: guid(subscription().id, environmentName, 'arm-deployment', 'operation reader')
  workflowReader: guid(subscription().id, environmentName, 'logic-app', 'reader')
  workflowActor: guid(subscription().id, environmentName, 'logic-app', 'actor')
  connectionReader: guid(subscription().id, environmentName, 'logic-app', 'connection reader')
  connectionActor: guid(subscription().id, environmentName, 'logic-app', 'connection actor')
  containerAppReader: guid(subscription().id, environmentName, 'container-app', 'reader')
  containerAppActor: guid(subscription().id, environmentName, 'container-app', 'actor')
  environmentActor: guid(subscription().id, environmentName, 'container-app', 'environment actor')
  containerAppOperationReader: guid(subscription().id, environmentName, 'container-app', 'operation reader')
  evidenceReader: guid(subscription().id, environmentName, 'evidence', 'reader')
  alertReader: guid(subscription().id, environmentName, 'alerts', 'reader')
  alertRuleReader: guid(subscription().id, environmentName, 'alerts', 'rule reader')
}

// ---------------------------------------------------------------------------------------------------------------------
// backout itself
// ---------------------------------------------------------------------------------------------------------------------

resource home 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: resourceGroupName
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  name: 'backout-identities'
  scope: home
  params: {
    environmentName: environmentName
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'backout-monitoring'
  scope: home
  params: {
    environmentName: environmentName
    location: location
    tags: tags
    existingWorkspaceId: existingWorkspaceId
    readerPrincipalId: identities.outputs.readerPrincipalId
  }
}

module storage 'modules/storage.bicep' = {
  name: 'backout-storage'
  scope: home
  params: {
    hostStorageName: hostStorageName
    stateStorageName: stateStorageName
    stateRedundancy: stateRedundancy
    location: location
    tags: tags
    readerPrincipalId: identities.outputs.readerPrincipalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module queues 'modules/service-bus.bicep' = {
  name: 'backout-service-bus'
  scope: home
  params: {
    name: serviceBusName
    location: location
    tags: tags
    tier: serviceBus
    azureDevOpsSendsMarkers: azureDevOpsSendsMarkers
    readerPrincipalId: identities.outputs.readerPrincipalId
    deliveryPrincipalId: identities.outputs.deliveryPrincipalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module functionApp 'modules/function-app.bicep' = {
  name: 'backout-function-app'
  scope: home
  params: {
    name: functionAppName
    environmentName: environmentName
    location: location
    tags: tags
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    readerId: identities.outputs.readerId
    readerClientId: identities.outputs.readerClientId
    actorId: identities.outputs.actorId
    actorClientId: identities.outputs.actorClientId
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    hostStorageName: storage.outputs.hostStorageName
    packageContainerUrl: storage.outputs.packageContainerUrl
    stateContainerUrl: storage.outputs.stateContainerUrl
    serviceBusHostName: queues.outputs.hostName
    mode: mode
    policy: policy
    policySettings: policySettings
    webhookClientId: webhookClientId
    approverClientId: approverClientId
    approvalKey: approvalKey
  }
}

module watchdog 'modules/watchdog.bicep' = if (watchesItself) {
  name: 'backout-watchdog'
  scope: home
  params: {
    environmentName: environmentName
    location: location
    tags: tags
    operatorEmails: operatorEmails
    applicationInsightsId: monitoring.outputs.applicationInsightsId
    serviceBusId: queues.outputs.id
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Alerts: in by the action group
// ---------------------------------------------------------------------------------------------------------------------

module actionGroup 'modules/action-group.bicep' = if (codeIsDeployed) {
  name: 'backout-action-group'
  scope: home
  params: {
    environmentName: environmentName
    tags: tags
    functionAppName: functionApp.outputs.name
    webhookClientId: webhookClientId
    webhookObjectId: webhookObjectId
    scopes: empty(alertScopes) ? ownGroups : alertScopes
  }
}

module alertRules 'modules/alert-rules.bicep' = if (exampleAlertRules) {
  name: 'backout-alert-rules'
  scope: home
  params: {
    environmentName: environmentName
    tags: tags
    siteIds: map(filter(ownTargets, target => target.platform == 'app-service'), target => target.id)
    workflowIds: map(filter(ownTargets, target => target.platform == 'logic-app'), target => target.id)
    containerAppIds: map(filter(ownTargets, target => target.platform == 'container-app'), target => target.id)
    clusterIds: map(filter(ownTargets, target => target.platform == 'kubernetes'), target => target.id)
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Deployments: in by Event Grid
// ---------------------------------------------------------------------------------------------------------------------

module groupEvents 'modules/event-grid-resource-group.bicep' = [
  for group in groupsToWatch: {
    name: 'backout-events-${uniqueString(group, environmentName)}'
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      environmentName: environmentName
      deliveryIdentityId: identities.outputs.deliveryId
      queueId: queues.outputs.deploymentsQueueId
    }
  }
]

module subscriptionEvents 'modules/event-grid-subscription.bicep' = if (!empty(ownDeploymentSubscription)) {
  name: 'backout-events-subscription'
  scope: home
  params: {
    environmentName: environmentName
    tags: tags
    deliveryIdentityId: identities.outputs.deliveryId
    queueId: queues.outputs.deploymentsQueueId
  }
}

module siteEvents 'modules/event-grid-site.bicep' = [
  for site in filter(sites, s => !contains(lowerSitesWithTopic, toLower(s.id))): {
    name: 'backout-events-${uniqueString(site.id, environmentName)}'
    scope: resourceGroup(split(site.id, '/')[2], split(site.id, '/')[4])
    params: {
      environmentName: environmentName
      siteName: last(split(site.id, '/'))
      deliveryIdentityId: identities.outputs.deliveryId
      queueId: queues.outputs.deploymentsQueueId
    }
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// Role definitions: only of platforms that have a target, and to act only where some target may be acted upon
// ---------------------------------------------------------------------------------------------------------------------

module siteRoles 'roles/app-service.bicep' = if (!empty(sites)) {
  name: 'backout-roles-app-service'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    readerName: roleNames.siteReader
    settingsReaderName: roleNames.siteSettingsReader
    actorName: roleNames.siteActor
    configuratorName: roleNames.siteConfigurator
    mayAct: !empty(filter(sites, site => site.mayAct))
  }
}

module clusterRoles 'roles/kubernetes.bicep' = if (!empty(clusters)) {
  name: 'backout-roles-kubernetes'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    readerName: roleNames.clusterReader
    actorName: roleNames.clusterActor
    commandReaderName: roleNames.clusterCommandReader
    commandActorName: roleNames.clusterCommandActor
    mayAct: !empty(filter(clusters, cluster => cluster.mayAct))
  }
}

module deploymentRoles 'roles/arm-deployment.bicep' = if (!empty(deploymentScopes)) {
  name: 'backout-roles-arm-deployment'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    readerName: roleNames.deploymentReader
    actorName: roleNames.deploymentActor
    operationReaderName: roleNames.deploymentOperationReader
    mayAct: !empty(filter(deploymentScopes, target => target.mayAct))
  }
}

module workflowRoles 'roles/logic-app.bicep' = if (!empty(workflows)) {
  name: 'backout-roles-logic-app'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    readerName: roleNames.workflowReader
    actorName: roleNames.workflowActor
    connectionReaderName: roleNames.connectionReader
    connectionActorName: roleNames.connectionActor
    mayAct: !empty(filter(workflows, workflow => workflow.mayAct))
  }
}

module containerAppRoles 'roles/container-app.bicep' = if (!empty(containerApps)) {
  name: 'backout-roles-container-app'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    readerName: roleNames.containerAppReader
    actorName: roleNames.containerAppActor
    environmentActorName: roleNames.environmentActor
    operationReaderName: roleNames.containerAppOperationReader
    mayAct: !empty(filter(containerApps, app => app.mayAct))
  }
}

module observationRoles 'roles/observation.bicep' = {
  name: 'backout-roles-observation'
  params: {
    environmentName: environmentName
    assignableScopes: assignableScopes
    evidenceReaderName: roleNames.evidenceReader
    alertReaderName: roleNames.alertReader
    alertRuleReaderName: roleNames.alertRuleReader
    readsAlertRules: readsAlertRules
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Role assignments: each on its own target
// ---------------------------------------------------------------------------------------------------------------------

module siteRights 'modules/target-app-service.bicep' = [
  for site in sites: {
    name: 'backout-rights-${uniqueString(site.id, environmentName)}'
    scope: resourceGroup(split(site.id, '/')[2], split(site.id, '/')[4])
    params: {
      siteName: last(split(site.id, '/'))
      mayAct: site.mayAct
      mayConfigure: site.?mayConfigure ?? false
      readsAppSettings: site.?readsAppSettings ?? false
      readerName: roleNames.siteReader
      settingsReaderName: roleNames.siteSettingsReader
      actorName: roleNames.siteActor
      configuratorName: roleNames.siteConfigurator
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      siteRoles
    ]
  }
]

module clusterRights 'modules/target-kubernetes.bicep' = [
  for cluster in clusters: {
    name: 'backout-rights-${uniqueString(cluster.id, environmentName)}'
    scope: resourceGroup(split(cluster.id, '/')[2], split(cluster.id, '/')[4])
    params: {
      clusterName: last(split(cluster.id, '/'))
      mayAct: cluster.mayAct
      runsCommands: cluster.?runsCommands ?? false
      readerName: roleNames.clusterReader
      actorName: roleNames.clusterActor
      commandReaderName: roleNames.clusterCommandReader
      commandActorName: roleNames.clusterCommandActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      clusterRoles
    ]
  }
]

module deploymentGroupRights 'modules/target-arm-resource-group.bicep' = [
  for target in deploymentGroups: {
    name: 'backout-rights-${uniqueString(target.id, environmentName)}'
    scope: resourceGroup(split(target.id, '/')[2], split(target.id, '/')[4])
    params: {
      mayAct: target.mayAct
      templateRole: target.?templateRole ?? ''
      readerName: roleNames.deploymentReader
      actorName: roleNames.deploymentActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      deploymentRoles
    ]
  }
]

module deploymentSubscriptionRights 'modules/target-arm-subscription.bicep' = [
  for target in deploymentSubscriptions: {
    name: 'backout-rights-${uniqueString(target.id, environmentName)}'
    scope: subscription(split(target.id, '/')[2])
    params: {
      mayAct: target.mayAct
      templateRole: target.?templateRole ?? ''
      readerName: roleNames.deploymentReader
      actorName: roleNames.deploymentActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      deploymentRoles
    ]
  }
]

module workflowRights 'modules/target-logic-app.bicep' = [
  for workflow in workflows: {
    name: 'backout-rights-${uniqueString(workflow.id, environmentName)}'
    scope: resourceGroup(split(workflow.id, '/')[2], split(workflow.id, '/')[4])
    params: {
      workflowName: last(split(workflow.id, '/'))
      mayAct: workflow.mayAct
      readerName: roleNames.workflowReader
      actorName: roleNames.workflowActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      workflowRoles
    ]
  }
]

// The same connection may serve several workflows: one assignment, to act if one of them may be acted upon.
var connectionIds = union([], flatten(map(workflows, workflow => map(workflow.?joins ?? [], id => toLower(id)))))
var connectionIdsToAct = union(
  [],
  flatten(map(filter(workflows, workflow => workflow.mayAct), workflow => map(workflow.?joins ?? [], id => toLower(id))))
)

module connectionRights 'modules/target-connection.bicep' = [
  for id in connectionIds: {
    name: 'backout-rights-${uniqueString(id, environmentName)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      connectionName: last(split(id, '/'))
      mayAct: contains(connectionIdsToAct, id)
      readerName: roleNames.connectionReader
      actorName: roleNames.connectionActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      workflowRoles
    ]
  }
]

module containerAppRights 'modules/target-container-app.bicep' = [
  for app in containerApps: {
    name: 'backout-rights-${uniqueString(app.id, environmentName)}'
    scope: resourceGroup(split(app.id, '/')[2], split(app.id, '/')[4])
    params: {
      appName: last(split(app.id, '/'))
      mayAct: app.mayAct
      readerName: roleNames.containerAppReader
      actorName: roleNames.containerAppActor
      readerPrincipalId: identities.outputs.readerPrincipalId
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      containerAppRoles
    ]
  }
]

var environmentIds = union(
  [],
  flatten(map(filter(containerApps, app => app.mayAct), app => map(app.?joins ?? [], id => toLower(id))))
)

module environmentRights 'modules/target-container-environment.bicep' = [
  for id in environmentIds: {
    name: 'backout-rights-${uniqueString(id, environmentName)}'
    scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
    params: {
      managedEnvironmentName: last(split(id, '/'))
      actorName: roleNames.environmentActor
      actorPrincipalId: identities.outputs.actorPrincipalId
    }
    dependsOn: [
      containerAppRoles
    ]
  }
]

// Evidence is granted on its resource group: the resource may be of any type, and a role assignment in Bicep needs to know it.
var evidenceGroups = union(targetGroups, map(evidenceIds, id => toLower(join(take(split(id, '/'), 5), '/'))))

module evidenceRights 'modules/evidence.bicep' = [
  for group in evidenceGroups: {
    name: 'backout-evidence-${uniqueString(group, environmentName)}'
    scope: resourceGroup(split(group, '/')[2], split(group, '/')[4])
    params: {
      readerName: roleNames.evidenceReader
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
    dependsOn: [
      observationRoles
    ]
  }
]

// Fired alerts and alert rules are listed by subscription; there is no narrower place.
module alertRights 'modules/subscription-reader.bicep' = [
  for id in watchedSubscriptions: {
    name: 'backout-alerts-${uniqueString(id, environmentName)}'
    scope: subscription(split(id, '/')[2])
    params: {
      readerName: roleNames.alertReader
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
    dependsOn: [
      observationRoles
    ]
  }
]

module alertRuleRights 'modules/subscription-reader.bicep' = [
  for id in (readsAlertRules ? watchedSubscriptions : []): {
    name: 'backout-alert-rules-${uniqueString(id, environmentName)}'
    scope: subscription(split(id, '/')[2])
    params: {
      readerName: roleNames.alertRuleReader
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
    dependsOn: [
      observationRoles
    ]
  }
]

// The URLs by which Azure tells how an operation stands lie at the subscription, not below the target.
var deploymentSubscriptionsToAct = union(
  [],
  map(filter(deploymentScopes, target => target.mayAct), target => toLower(join(take(split(target.id, '/'), 3), '/')))
)
var containerAppSubscriptionsToAct = union(
  [],
  map(filter(containerApps, app => app.mayAct), app => toLower(join(take(split(app.id, '/'), 3), '/')))
)

module deploymentOperationRights 'modules/subscription-reader.bicep' = [
  for id in deploymentSubscriptionsToAct: {
    name: 'backout-arm-operations-${uniqueString(id, environmentName)}'
    scope: subscription(split(id, '/')[2])
    params: {
      readerName: roleNames.deploymentOperationReader
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
    dependsOn: [
      deploymentRoles
    ]
  }
]

module containerAppOperationRights 'modules/subscription-reader.bicep' = [
  for id in containerAppSubscriptionsToAct: {
    name: 'backout-app-operations-${uniqueString(id, environmentName)}'
    scope: subscription(split(id, '/')[2])
    params: {
      readerName: roleNames.containerAppOperationReader
      readerPrincipalId: identities.outputs.readerPrincipalId
    }
    dependsOn: [
      containerAppRoles
    ]
  }
]

// ---------------------------------------------------------------------------------------------------------------------
// Outputs: no secrets. azd keeps them as environment values; the hooks read them.
// ---------------------------------------------------------------------------------------------------------------------

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = home.name
output BACKOUT_FUNCTION_APP string = functionApp.outputs.name
output BACKOUT_URL string = functionApp.outputs.url
output BACKOUT_SERVICE_BUS string = queues.outputs.hostName
output BACKOUT_STATE string = storage.outputs.stateContainerUrl
output BACKOUT_READER_PRINCIPAL_ID string = identities.outputs.readerPrincipalId
output BACKOUT_ACTOR_PRINCIPAL_ID string = identities.outputs.actorPrincipalId
