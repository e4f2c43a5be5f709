-- The last images of the rows of {{name}}, by its primary key as in {{meta}}.
--
-- `image` is what each column's type prints (column → text). It is NULL for a deletion, and of a row that is too large to be kept.
-- A version has one entry, though nothing enforces it: it is made under the lock of the row's version. The index is on the key
-- alone, so that a key that fits into the table's own index fits into this one.
CREATE TABLE {{history}} (
  {{keyDefinitions}},
  stamp       bigint      NOT NULL,
  origin      text        NOT NULL COLLATE "C",
  priority    integer     NOT NULL,
  past        jsonb,
  deleted     boolean     NOT NULL,
  image       jsonb,
  how         text        NOT NULL CHECK (how IN ('written', 'received', 'lost')),
  recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ON {{history}} ({{keys}});
