# The demo target's interactive shell: a plain prompt and nothing else.
PS1='$USER@$DEMO_TARGET:\w$ '
PROMPT_COMMAND=
