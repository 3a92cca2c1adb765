"""What a user would run instead, each as its own documentation leads to it. None imports anything of ours."""
