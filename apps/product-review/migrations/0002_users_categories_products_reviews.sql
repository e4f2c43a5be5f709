-- Who reviews what.
--
-- No key but the primary one is unique, and that is deliberate: two sites that are apart could both take one e-mail or
-- one category name, and when they meet, both rows cannot stand. UUID keys cannot collide, so every row can always be
-- taken over. What should be unique is indexed, so that a program can look before it writes.

-- Runs for local writes only: rows that arrive from a peer keep the time that their writer gave them.
CREATE FUNCTION public.product_review_set_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
  NEW.updated_at := now();
  RETURN NEW;
END
$$;

CREATE TABLE public.users (
  id         uuid        PRIMARY KEY DEFAULT public.uuid_v7(),
  username   text        NOT NULL,
  email      text        NOT NULL,
  full_name  text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_users_username ON public.users (username);
CREATE INDEX idx_users_email ON public.users (lower(email));
CREATE INDEX idx_users_updated_at ON public.users (updated_at);

CREATE TABLE public.categories (
  id          uuid        PRIMARY KEY DEFAULT public.uuid_v7(),
  name        text        NOT NULL,
  description text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  updated_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_categories_name ON public.categories (name);
CREATE INDEX idx_categories_updated_at ON public.categories (updated_at);

-- A product outlives its category. No price means that none is known. (BETWEEN keeps 'NaN' out, which numeric allows.)
CREATE TABLE public.products (
  id          uuid          PRIMARY KEY DEFAULT public.uuid_v7(),
  name        text          NOT NULL,
  description text,
  price       numeric(14,2) CONSTRAINT products_price_check CHECK (price BETWEEN 0 AND 999999999999.99),
  category_id uuid          CONSTRAINT products_category_id_fkey
                            REFERENCES public.categories (id) ON DELETE SET NULL,
  created_at  timestamptz   NOT NULL DEFAULT now(),
  updated_at  timestamptz   NOT NULL DEFAULT now()
);
CREATE INDEX idx_products_name ON public.products (name);
CREATE INDEX idx_products_category_id ON public.products (category_id);
CREATE INDEX idx_products_updated_at ON public.products (updated_at);

-- A review is nothing without its product and its author, and goes with either.
CREATE TABLE public.reviews (
  id         uuid        PRIMARY KEY DEFAULT public.uuid_v7(),
  product_id uuid        NOT NULL CONSTRAINT reviews_product_id_fkey
                         REFERENCES public.products (id) ON DELETE CASCADE,
  user_id    uuid        NOT NULL CONSTRAINT reviews_user_id_fkey
                         REFERENCES public.users (id) ON DELETE CASCADE,
  rating     smallint    NOT NULL CONSTRAINT reviews_rating_check CHECK (rating BETWEEN 1 AND 5),
  title      text,
  comment    text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_reviews_product_id ON public.reviews (product_id);
CREATE INDEX idx_reviews_user_id ON public.reviews (user_id);
CREATE INDEX idx_reviews_updated_at ON public.reviews (updated_at);

CREATE TRIGGER users_set_updated_at BEFORE UPDATE ON public.users
  FOR EACH ROW EXECUTE FUNCTION public.product_review_set_updated_at();
CREATE TRIGGER categories_set_updated_at BEFORE UPDATE ON public.categories
  FOR EACH ROW EXECUTE FUNCTION public.product_review_set_updated_at();
CREATE TRIGGER products_set_updated_at BEFORE UPDATE ON public.products
  FOR EACH ROW EXECUTE FUNCTION public.product_review_set_updated_at();
CREATE TRIGGER reviews_set_updated_at BEFORE UPDATE ON public.reviews
  FOR EACH ROW EXECUTE FUNCTION public.product_review_set_updated_at();
