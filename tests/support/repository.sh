# repository.sh - sourced by cases: plant GITDIR fills a repository with all that git would run of it
#
# Hooks, filters, helpers, drivers, transports: each leaves a file of its name in $witness, the working folder's. What
# git itself is to do there is done before. `url.insteadOf` leads from $1 to $2 of `plant GITDIR FROM TO`.
command -v git >/dev/null || { echo "skip: no git" >&2; exit 77; }
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@y GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@y
witness=$PWD/witness
mkdir "$witness"

leave() { # NAME: a program that says it ran
    printf '#!/bin/sh\ntouch "%s/%s"\n' "$witness" "$1" >"$witness.$1"
    chmod +x "$witness.$1"
    printf %s "$witness.$1"
}

plant() {
    mkdir -p "$1/hooks"
    for hook in applypatch-msg pre-applypatch post-applypatch pre-commit prepare-commit-msg commit-msg post-commit \
        pre-rebase post-checkout post-merge pre-push pre-receive update proc-receive post-receive post-update \
        reference-transaction push-to-checkout pre-auto-gc post-rewrite sendemail-validate fsmonitor-watchman \
        post-index-change; do
        cp "$(leave "hook-$hook")" "$1/hooks/$hook"
    done
    cat >>"$1/config" <<END
[core]
	fsmonitor = $(leave fsmonitor)
	sshCommand = $(leave sshCommand)
	gitProxy = $(leave gitProxy)
	askPass = $(leave askPass)
	editor = $(leave editor)
	pager = $(leave pager)
	alternateRefsCommand = $(leave alternateRefsCommand)
	hooksPath = $1/hooks
[credential]
	helper = !$(leave credential)
[diff]
	external = $(leave diff-external)
[diff "evil"]
	command = $(leave diff-command)
	textconv = $(leave textconv)
[merge "evil"]
	driver = $(leave merge-driver)
[filter "evil"]
	clean = $(leave clean)
	smudge = $(leave smudge)
	process = $(leave process)
	required = true
[gpg]
	program = $(leave gpg)
[commit]
	gpgSign = true
[push]
	gpgSign = if-asked
[uploadpack]
	packObjectsHook = $(leave packObjectsHook)
[protocol "ext"]
	allow = always
[remote "origin"]
	url = $2
	uploadpack = $(leave uploadpack)
	receivepack = $(leave receivepack)
[remote "ext"]
	url = ext::$(leave ext)
[remote "dash"]
	url = ssh://-oProxyCommand=$(leave ssh-dash)/x
[url "$3"]
	insteadOf = $2
END
}
