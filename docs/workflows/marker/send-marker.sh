#!/usr/bin/env bash
# Tells backout that a deployment began or ended: one CDEvent on the Service Bus queue `markers`.
#
#   MARKER_NAMESPACE    host name of the Service Bus namespace, such as contoso.servicebus.windows.net
#   MARKER_STATE        started, succeeded or failed
#   MARKER_SERVICE      what the policy names under `deployments: [{ subject: ... }]`, or the resource id of the target
#   MARKER_RUN          this run and attempt, such as 4711-1: the same run tells the same thing once
#   MARKER_VERSION      what is deployed (optional)
#   MARKER_ENVIRONMENT  where to (optional)
#   MARKER_REVERSIBLE   true or false: can this change be taken back? Empty: nothing is declared
#   MARKER_PIPELINE     name of the pipeline (optional)
#   MARKER_SOURCE       who says so, a URL or a path (default /pipeline)
#   MARKER_QUEUE        default markers
#   MARKER_TOKEN        Entra token for https://servicebus.azure.net; else `az` is asked for one. The identity needs the
#                       role "Azure Service Bus Data Sender" on that queue, and nothing else
#   MARKER_ENDPOINT     default https://MARKER_NAMESPACE
#
# A marker that could not be sent is an error of this step, not of the deployment: without it backout knows less, and asks a
# person where it might have acted. So let the pipeline go on (continue-on-error).
set -euo pipefail

fail() {
  printf 'send-marker: %s\n' "$*" >&2
  exit 1
}

# The value of a variable that must be there.
required() {
  [[ -n ${!1:-} ]] || fail "$1 is not set; the top of this script says what it means"
  printf '%s' "${!1}"
}

# A JSON string. Control characters have no place in a name.
quoted() {
  local text=$1
  [[ $text != *[[:cntrl:]]* ]] || fail 'a value has a line break or another control character'
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "$text"
}

state=$(required MARKER_STATE)
service=$(required MARKER_SERVICE)
run=$(required MARKER_RUN)
version=${MARKER_VERSION:-}
environment=${MARKER_ENVIRONMENT:-}
reversible=${MARKER_REVERSIBLE:-}
pipeline=${MARKER_PIPELINE:-}
queue=${MARKER_QUEUE:-markers}
endpoint=${MARKER_ENDPOINT:-https://$(required MARKER_NAMESPACE)}

# What the specification has no field for.
custom="\"service\": $(quoted "$service")"
[[ -z $environment ]] || custom+=", \"environment\": $(quoted "$environment")"
[[ -z $version ]] || custom+=", \"version\": $(quoted "$version")"
case $reversible in
  true | false) custom+=", \"reversible\": $reversible" ;;
  '') ;;
  *) fail "MARKER_REVERSIBLE is '$reversible'; write true, false or nothing" ;;
esac

run_content="\"pipelineName\": $(quoted "$pipeline")"
case $state in
  started)
    type=dev.cdevents.pipelinerun.started.0.2.0
    subject="{\"id\": $(quoted "$run"), \"type\": \"pipelineRun\", \"content\": {$run_content}}"
    ;;
  succeeded)
    type=dev.cdevents.service.deployed.0.2.0
    content="\"environment\": {\"id\": $(quoted "$environment")}"
    # A package URL is what the specification wants here; anything else is told as the version alone.
    [[ $version != pkg:* ]] || content+=", \"artifactId\": $(quoted "$version")"
    subject="{\"id\": $(quoted "$service"), \"type\": \"service\", \"content\": {$content}}"
    ;;
  failed)
    type=dev.cdevents.pipelinerun.finished.0.2.0
    subject="{\"id\": $(quoted "$run"), \"type\": \"pipelineRun\", \"content\": {$run_content, \"outcome\": \"failure\"}}"
    ;;
  *) fail "MARKER_STATE is '$state'; write started, succeeded or failed" ;;
esac

# The same for a step that is tried again, so that backout counts it once.
id=$(printf '%s\n' "$run" "$service" "$environment" "$state" | sha256sum | cut -c1-32)
context="\"version\": \"0.4.1\", \"id\": \"$id\", \"source\": $(quoted "${MARKER_SOURCE:-/pipeline}")"
context+=", \"type\": \"$type\", \"timestamp\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\""
event="{\"context\": {$context}, \"subject\": $subject, \"customData\": {$custom}, \"customDataContentType\": \"application/json\"}"

token=${MARKER_TOKEN:-}
if [[ -z $token ]]; then
  token=$(az account get-access-token --resource https://servicebus.azure.net --query accessToken --output tsv) ||
    fail 'az gave no token; log in before this step (azure/login, AzureCLI@2), or set MARKER_TOKEN'
fi

# The token goes in by standard input: a command line can be read by other processes.
printf 'Authorization: Bearer %s\n' "$token" |
  curl --fail-with-body --silent --show-error --max-time 30 --retry 3 \
    --header @- \
    --header 'Content-Type: application/json' \
    --header "BrokerProperties: {\"MessageId\": \"$id\"}" \
    --data-binary "$event" \
    "$endpoint/$queue/messages" ||
  fail "the queue $queue did not take the marker; does this identity have \"Azure Service Bus Data Sender\" on it?"
printf 'told backout: %s %s%s\n' "$service" "$state" "${version:+, version $version}"
