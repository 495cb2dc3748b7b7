# Renaming one link of an inode onto another does nothing, and both stay.
# groups: rename
echo x >a; ln a b
python3 -c 'import os; os.rename("a", "b")'
ls; stat -c %h a b
